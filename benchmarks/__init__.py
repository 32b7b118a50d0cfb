"""Side-by-side timings that the book shows: ours, and what one would use otherwise."""
