"""OpenTelemetry's spans of generative AI, read: which attribute says what (``mapping``), and what a span is (``spans``)."""
