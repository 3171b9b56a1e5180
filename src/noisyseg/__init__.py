"""noisyseg: five studies of medical image segmentation with imperfect labels."""
