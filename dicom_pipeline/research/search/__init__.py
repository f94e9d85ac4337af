"""Looking into a store: nearest, similar (whole studies), queries (what is searched for), neighbours (duplicates, outliers),
projection (a map), pages and viewers (HTML).
"""
