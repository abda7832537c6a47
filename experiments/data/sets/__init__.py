"""One module for each data set: where its official files are looked for, how they are read and checked."""
