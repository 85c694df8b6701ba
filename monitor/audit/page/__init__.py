"""Pages that are sent on: headings, tables and plots, as one HTML file that fetches and runs nothing, and as Markdown."""
