"""Proof that nothing was altered: checkpoints that are signed, the three answers of ``monitor audit verify``, erasure."""
