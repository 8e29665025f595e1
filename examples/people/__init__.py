"""People crossing two lines: foreign pretrained models on a real street."""
