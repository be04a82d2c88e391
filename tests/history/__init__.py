"""History: what policies see of earlier frames, in training, acting, exports and the classifier."""
