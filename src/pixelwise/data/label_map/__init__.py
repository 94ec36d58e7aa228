"""The label map: which class each pixel value in the mask files stands for.

value_counts   count the values in all masks
strays         values in so few pixels that they are no classes
instances      values that are the numbers of objects
palettes       palette indices, or their colors
orientation    masks of images that their EXIF orientation rotates
soft_edges     values between those of the classes
mask_sample    measurements of a few masks
naming         find names for the values
noise          the exact values behind noise
multilabel     masks with one file per class
options        the user's choices, and label maps that a format defines
resolve        combine counts, names and choices into one label map
"""
