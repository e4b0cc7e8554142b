# SPDX-License-Identifier: GPL-2.0
#
# Makes a crate of KUnit tests of what collect.sh has kept: one test for each
# example, named after the file and the item that it stands at.
#
#	awk -v src=DIRECTORY -v crate=NAME -f generate.awk FILE...
#
# DIRECTORY is where rust/NAME.rs, the root of the crate, is below. The first line of each FILE is the
# path of a source file as rustdoc calls it; the rest is what rustdoc made of the
# example.

function fail(text) {
	printf "%s:%d: %s\n", path, fence, text >"/dev/stderr"
	failed = 1
	exit 1
}

# Reads the source file of an example into `source`.
function read_source(name,	line, count) {
	if (name == source_name)
		return
	split("", source)
	source_name = name
	source_lines = 0
	while ((getline line <name) > 0)
		source[++source_lines] = line
	close(name)
	if (!source_lines)
		fail("cannot read " name)
}

# The name that the declaration `line` gives, or nothing.
function declared(line) {
	sub(/^[ \t]*/, "", line)
	sub(/^pub(\([^)]*\))?[ \t]+/, "", line)
	while (sub(/^(const|unsafe|async|extern "C")[ \t]+(fn|unsafe|async|extern)/, "fn", line))
		sub(/^fn[ \t]+fn/, "fn", line)
	sub(/^unsafe[ \t]+/, "", line)
	if (sub(/^(fn|struct|enum|union|trait|type|const|static|mod|macro_rules!)[ \t]+/, "", line) &&
	    match(line, /^[A-Za-z0-9_]+/))
		return substr(line, 1, RLENGTH)
	# A variant or a field.
	if (match(line, /^[A-Za-z0-9_]+/))
		return substr(line, 1, RLENGTH)
	return ""
}

# The type or trait that the item in line `number` is a part of, or nothing.
function owner(number,	line) {
	if (source[number] !~ /^[ \t]/)
		return ""
	while (--number > 0) {
		line = source[number]
		if (line ~ /^}/)
			return ""
		if (line ~ /^(unsafe )?impl/) {
			gsub(/->/, "", line)
			while (gsub(/<[^<>]*>/, "", line))
				;
			sub(/^(unsafe )?impl[ \t]+/, "", line)
			sub(/^.* for /, "", line)
			sub(/.*::/, "", line)
			match(line, /^[A-Za-z0-9_]+/)
			return substr(line, 1, RLENGTH)
		}
		if (line ~ /^(pub(\([^)]*\))? )?(unsafe )?(trait|struct|enum|union) /)
			return declared(line)
	}
	return ""
}

# What the example whose fence is in line `number` stands at: file_type_item.
function item(file, number,	name, part) {
	sub(/^rust\/holdfast\/?/, "", file)
	sub(/\.rs$/, "", file)
	gsub(/\//, "_", file)
	if (file == "")
		file = "holdfast"
	if (source[number] ~ /^[ \t]*\/\/!/)
		return file
	while (number <= source_lines && source[number] ~ /^[ \t]*(\/\/|#\[|$)/)
		number++
	part = declared(source[number])
	name = owner(number)
	return file (name == "" ? "" : "_" name) (part == "" ? "_line" fence : "_" part)
}

function emit(line) {
	print line
}

# Between the example's own lines nothing is added: `line!()` counts from `ANCHOR`.
function finish(	number, runs, unwrap, last, condition) {
	if (!lines)
		return
	read_source(src "/" file)
	runs = source[fence] !~ /no_run/
	name = item(file, fence)
	if (name in names)
		name = name "_" ++names[name]
	else
		names[name] = 1

	emit("")
	emit("    // " path ":" fence)
	# One that a configuration leaves nothing of is no test there.
	condition = source[fence + 1]
	if (sub(/^.*# #\[cfg\(/, "#[cfg(", condition) && sub(/\)\] \{$/, ")]", condition))
		emit("    " condition)
	emit(runs ? "    #[test]" : "    #[expect(dead_code, reason = \"it is only compiled\")]")
	emit("    fn " name "() {")
	emit("        macro_rules! assert {")
	emit("            ($condition:expr $(,)?) => {{")
	emit("                ::kernel::kunit_assert!(")
	emit("                    \"" name "\", c\"" path "\", ANCHOR, $condition")
	emit("                );")
	emit("            }};")
	emit("        }")
	emit("        macro_rules! assert_eq {")
	emit("            ($left:expr, $right:expr $(,)?) => {{")
	emit("                ::kernel::kunit_assert_eq!(")
	emit("                    \"" name "\", c\"" path "\", ANCHOR, $left, $right")
	emit("                );")
	emit("            }};")
	emit("        }")
	emit("        macro_rules! assert_ne {")
	emit("            ($left:expr, $right:expr $(,)?) => { assert!($left != $right) };")
	emit("        }")
	if (runs)
		emit("        location(fmt!(\"    # " name ".location: " path ":" fence "\\n\"));")
	emit("        #[allow(dead_code)]")
	emit("        const ANCHOR: i32 = ::core::line!() as i32 + " (1 + main_line - fence) ";")
	emit("        {")
	for (number = 1; number < lines; number++)
		emit(body[number])

	# rustdoc unwraps what an example returns, which would be the end of the kernel.
	last = body[lines]
	if (match(last, /[A-Za-z0-9_]+\(\)\.unwrap\(\) }$/)) {
		unwrap = substr(last, RSTART, RLENGTH - length(".unwrap() }"))
		last = substr(last, 1, RSTART - 1)
		emit(last "let returned = " unwrap ";")
		emit("        if let Err(error) = &returned {")
		emit("            returned_error(fmt!(\"    # " name ": " path ":" fence \
		     ": the example returned {error:?}\\n\"));")
		emit("        }")
		# Of all lines, the fence stands for the whole.
		emit("        ::kernel::kunit_assert!(\"" name "\", c\"" path "\", " \
		     "::core::line!() as i32 - " fence ", returned.is_ok());")
		emit("        }")
	} else {
		emit(last)
	}
	emit("        main();")
	emit("        }")
	emit("    }")
}

BEGIN {
	emit("// SPDX-License-Identifier: GPL-2.0")
	emit("// Generated by rust/examples/generate.awk.")
	emit("")
	emit("//! The examples in the documentation of Holdfast, as KUnit tests.")
	emit("")
	emit("#![allow(non_snake_case, unreachable_pub, unused_macros, clippy::disallowed_names)]")
	emit("#![allow(clippy::items_after_statements, clippy::let_unit_value)]")
	emit("")
	emit("use kernel::prelude::*;")
	emit("")
	emit("module! {")
	emit("    type: Examples,")
	emit("    name: \"" crate "_examples\",")
	emit("    authors: [\"The Holdfast authors\"],")
	emit("    description: \"The examples in the documentation of Holdfast\",")
	emit("    license: \"GPL\",")
	emit("}")
	emit("")
	emit("struct Examples;")
	emit("")
	emit("impl kernel::Module for Examples {")
	emit("    fn init(_module: &'static ThisModule) -> Result<Self> {")
	emit("        Ok(Self)")
	emit("    }")
	emit("}")
	emit("")
	emit("#[kunit_tests(" crate "_examples)]")
	emit("mod examples {")
	emit("    use kernel::{")
	emit("        kunit::{")
	emit("            err as returned_error,")
	emit("            info as location, //")
	emit("        },")
	emit("        prelude::*, //")
	emit("    };")
}

FNR == 1 {
	finish()
	path = $0
	file = path
	sub(/^.*\/rust\/holdfast/, "rust/holdfast", file)
	if (index(path, src "/") == 1)
		path = file
	lines = 0
	main_line = 0
	next
}

{
	body[++lines] = $0
	if (!main_line && match($0, /_[0-9]+_[0-9]+\(\)/) && index($0, "fn main() {") == 1) {
		fence = substr($0, RSTART + 1) + 0
		main_line = lines
	}
}

END {
	if (failed)
		exit 1
	finish()
	emit("}")
}
