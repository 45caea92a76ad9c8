"""Datasets, policies and studies in the FiftyOne App."""
