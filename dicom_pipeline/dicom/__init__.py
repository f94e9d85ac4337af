"""What the standard says of any data set.

reading (a file up to its pixels), identity (what an instance is known by), attributes (what anyone may have written), uids,
mosaics (images that hold many slices) and csa (what says so),
part10 (data sets as bytes), top_level (tags without values), own_objects (made by this pipeline), warnings (of libraries).
Whether two files hold the same instance: same_content, by data_sets and same_attributes.
"""
