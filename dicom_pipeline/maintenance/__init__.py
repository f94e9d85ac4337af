"""REPAIR: what a person runs when something is wrong.

doctor (what is missing or misconfigured), rebuild (a lost catalog), store_care (checks and mends the embedding store).
"""
