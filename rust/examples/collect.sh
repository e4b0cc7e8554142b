#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Stands for the compiler that rustdoc calls for each example: keeps the program
# that it is given, in the directory $EXAMPLES, for generate.awk to make a test of.
#
# The name says where the example is: its file, and the line of its opening fence,
# which rustdoc only tells in the name of the function that it wraps around it.

set -e

kept=$EXAMPLES/$$
cat >"$kept"
place=$(sed -n 's/^fn main() {.* fn _doctest_main_[A-Za-z0-9_]*_\([0-9]*_[0-9]*\)().*/\1/p' "$kept")
if [ -z "$place" ]; then
	echo "An example must not have a main() of its own: leave it out." >&2
	exit 1
fi

file=$(printf '%s' "$UNSTABLE_RUSTDOC_TEST_PATH" | tr / :)
{
	echo "$UNSTABLE_RUSTDOC_TEST_PATH"
	cat "$kept"
} >"$EXAMPLES/$file:$(printf '%06d' "${place%_*}"):${place#*_}"
rm "$kept"
