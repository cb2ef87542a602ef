"""Corpus readers, writers, builders, the label-mapping table, overlap and the generated demo corpora."""
