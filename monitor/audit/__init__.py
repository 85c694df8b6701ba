"""Questions over what is stored, long after the run: what rules would have said, and what people said of findings."""
