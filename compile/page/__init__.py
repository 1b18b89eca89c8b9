"""One HTML page from the JSON files of zoo: what is fastest, and whether it is proved."""
