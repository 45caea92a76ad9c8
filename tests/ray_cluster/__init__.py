"""Tests on a real Ray cluster of two worker processes: one for all of them, as starting it takes longer than most of them."""
