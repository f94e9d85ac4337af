"""What the standard says of any data set.

attributes (reading what anyone may have written), uids, part10 (files as bytes), own_objects (made by this pipeline), warnings
(of libraries). Whether two files hold the same instance: same_content, by data_sets and same_attributes.
"""
