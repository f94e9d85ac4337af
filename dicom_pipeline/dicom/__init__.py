"""What the standard says of any data set.

reading (a file up to its pixels), attributes (what anyone may have written), uids, part10 (data sets as bytes), own_objects
(made by this pipeline), warnings (of libraries). Whether two files hold the same instance: same_content, by data_sets and
same_attributes.
"""
