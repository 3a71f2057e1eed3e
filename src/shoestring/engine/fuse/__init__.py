"""fuse: many into one: members of an ensemble, what each is worth, and students of a teacher."""
