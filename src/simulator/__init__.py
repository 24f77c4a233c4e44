"""Shop traffic → Kinesis: replay a file of shop events, generate look-alike data, mix in labelled attacks."""
