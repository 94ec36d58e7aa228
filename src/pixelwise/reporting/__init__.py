"""Reports for people: command line output, the report of an inspected data set, previews and model summaries."""
