"""Re-checking what is stored: rules and probes of today over subcalls of any day, on one machine or on many."""
