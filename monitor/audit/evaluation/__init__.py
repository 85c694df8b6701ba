"""How good the rules are: false positives on harmless text, recall on failures that the rules' author did not write."""
