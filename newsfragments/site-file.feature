The site file is read with line numbers, and all its problems are shown at once, each with its line, what was expected and what was probably meant.
