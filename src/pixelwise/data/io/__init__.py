"""Reading of images and masks: bytes from files, shards, tables and URLs become arrays."""
