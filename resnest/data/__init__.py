"""Photos and label maps as arrays, and what data sets call their classes. Imports: specs, NumPy and Pillow."""
