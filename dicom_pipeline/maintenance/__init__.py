"""REPAIR: what a person runs when something is wrong.

doctor (what is missing or misconfigured), attention (whether a person is needed, and for what), lookup (studies by UID or
accession number), rebuild (a lost catalog), store_care (checks and mends the embedding store).
"""
