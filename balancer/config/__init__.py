"""The site file's text and its options: knows lines and declarations, and no option's name."""
