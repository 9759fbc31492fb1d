"""Key-semantic attention: one signature, one reference, interchangeable backends."""
