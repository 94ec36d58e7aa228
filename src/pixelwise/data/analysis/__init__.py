"""Statistics of a whole data set, from one pass over all images and masks.

regions       pixels, objects and widths of each value in one mask
scan          one pass over all files, in worker processes
image_stats   per-image statistics of the data set
mask_stats    per-mask statistics of the data set, by value and by class
groups        images that must stay in one split: video frames, tiles, copies
inspection    the report on a data set
"""
