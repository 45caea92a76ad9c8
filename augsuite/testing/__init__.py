"""The contract kit: what every plugin must pass, ours and a stranger's."""
