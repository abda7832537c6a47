"""The names of the files in a run's folder; importing them costs nothing."""

DATA = "data.json"  # the images that the run trains on: set, digest, de-duplication pass, counts
REMOVED = "removed.csv"  # near-duplicates: the index of each removed image, and of the image kept instead
LOSSES = "losses.csv"  # one line for each minibatch
EPOCHS = "epochs.csv"  # one line for each look of the monitor
FRAMES = "epochs"  # folder of its grids of samples, <images seen>.png
STATE = "state.safetensors"  # the checkpoint from which the run goes on
CLOCK = "clock.json"  # of earlier versions: seconds trained up to the checkpoint, which has them in its notes now
DISCRIMINATOR, GENERATOR = "discriminator.safetensors", "generator.safetensors"  # the trained networks
SUMMARY = "training.json"  # recipe, data, command, digests, times; written last
SNAPSHOTS = "snapshots"  # folder of discriminators in half precision, <images seen>.safetensors
