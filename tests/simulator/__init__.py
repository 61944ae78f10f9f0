"""Tests of the simulator: it answers as the real systems do, and its ledger tells the truth."""
