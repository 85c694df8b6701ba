"""One module per schema version. A migration that was released is never edited."""
