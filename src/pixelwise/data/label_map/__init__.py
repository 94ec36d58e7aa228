"""The label map: which class each pixel value in the mask files stands for.

value_counts   count the values in all masks
naming         find names for the values
options        the user's choices, and label maps that a format defines
resolve        combine counts, names and choices into one label map
"""
