"""Whether two files hold the same instance.

content (the answer), data_sets (a strict reader), attributes (compared one by one).
"""
