"""What is in the picture: objects, edges, motion, and a sentence that says it."""
