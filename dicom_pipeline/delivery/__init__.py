"""DELIVER: reports to destinations, each exactly once, tried again until delivered or set aside for a person.

rules and retry (pure), sender (a thread for each destination).
"""
