"""The de-duplication pass: the images it reads, the pairs it finds, the files it writes for a person to judge."""
