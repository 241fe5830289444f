package engine

// Word is a global name that is no module: a word of the form, or a function of
// the engine or of Lua.
type Word struct {
	Name, Doc string
	// Takes and Returns are its types. A word of the form takes one table, and
	// Keys are those of that.
	Takes   []ArgRef
	Returns string
	Keys    []FieldRef
	// Items are what stands in the table without a key.
	Items []FieldRef
	// Own is false for Lua's own functions. Tests is true for a word that is in
	// files that test a runbook only.
	Own, Tests bool
}

const callback = "fun(c: context): any, any"

// formWords is the form, as a manual describes it.
func formWords() []Word {
	words := []Word{
		{Name: "runbook", Own: true, Returns: "runbook", Doc: "describes a runbook; the file returns it", Keys: runbookKeys()},
		{Name: "extension", Own: true, Returns: "extension", Doc: "describes a site's own steps around those of a runbook; the file RUNBOOK.d/NAME.lua returns it", Keys: extensionKeys()},
		{Name: "step", Own: true, Returns: "step", Doc: "one unit of work with a name", Keys: stepKeys(),
			Items: []FieldRef{{Name: "name", Type: "string", Doc: "what plans, runs, results and extensions call it"}}},
		{Name: "check", Own: true, Returns: "check", Doc: "what must hold before the first step; it only reads", Keys: []FieldRef{
			{Name: "retries", Type: "integer", Optional: true, Doc: "how often it is tried again while it does not hold"},
			{Name: "delay", Type: "duration", Optional: true, Doc: "how long to wait before each of these (default: 1s)"},
			{Name: "hint", Type: "string", Optional: true, Doc: "what to do when it does not hold"},
			{Name: "again", Type: "boolean", Optional: true, Doc: "true: it must hold again when a run is resumed that has not passed the line of no return"},
		}, Items: []FieldRef{
			{Name: "name", Type: "string", Doc: "what must hold, as a sentence"},
			{Name: "function", Type: "fun(c: context): boolean, string?", Doc: "returns true, or false and why not; an error counts as false"},
			{Name: "message", Type: "string", Optional: true, Doc: "why not, where the function does not say"},
		}},
		{Name: "say", Own: true, Doc: "prints one line of live output, as string.format does", Takes: []ArgRef{{Name: "format", Type: "any"}, {Name: "value", Type: "any", Variadic: true}}},
		{Name: "fail", Own: true, Doc: "ends the check or step with an error: fail(format, ...), or fail { message, hint = ... } with what to do", Takes: []ArgRef{{Name: "format", Type: "any"}, {Name: "value", Type: "any", Variadic: true}}},
		{Name: "require", Own: true, Returns: "any", Doc: "gives what the file lib/NAME.lua returns; the site's own is looked for first", Takes: []ArgRef{{Name: "name", Type: "string"}}},
		{Name: "on_nodes", Own: true, Returns: "nodeResult[]", Doc: "calls a function on several nodes at once, on each with its name first and the other arguments after it, and waits for all. Gives a list in the order of the nodes with node, ok, value (what the function gave), error and hint of each. Where a node fails the call does, with what all have said; with keep_going = true in the list of nodes it does not. At most 8 are worked on at a time, or at_once = N. Not for runbooks.run, nor for what cannot be taken back",
			Takes: []ArgRef{{Name: "nodes", Type: "nodes"}, {Name: "function", Type: "function"}, {Name: "value", Type: "any", Variadic: true}}},
	}
	words = append(words, testWords()...)
	for _, name := range append([]string{"assert", "getmetatable", "pcall", "rawset", "setmetatable", "type", "xpcall"}, baseNames...) {
		words = append(words, Word{Name: name})
	}
	return words
}

func runbookKeys() []FieldRef {
	return []FieldRef{
		{Name: "api", Type: "integer", Doc: "1: the form it is written in"},
		{Name: "name", Type: "string", Doc: "the command, and the name of the file: letters, digits, - and _"},
		{Name: "summary", Type: "string", Doc: "one line for the list of commands"},
		{Name: "runs_on", Type: `"primary"|"standby"|"dr"|"pair"|"any"`, Doc: "the node that it is started on"},
		{Name: "lock", Type: `"cluster"|"node"|"none"`, Optional: true, Doc: "cluster (the default): no other run that changes the cluster may be under way on any node; node: not this runbook twice on this node"},
		{Name: "lock_unless", Type: "string", Optional: true, Doc: "the name of a boolean parameter with which it only reads, and takes no lock"},
		{Name: "next", Type: "string", Optional: true, Doc: "what usually follows"},
		{Name: "description", Type: "string", Optional: true, Doc: "as long as it takes"},
		{Name: "params", Type: "table<string, param>", Optional: true, Doc: "NAME = param.KIND { ... }; NAME becomes a flag"},
		{Name: "checks", Type: "check[]", Optional: true, Doc: "what must hold before the first step"},
		{Name: "steps", Type: "step[]", Doc: "what is done, in this order"},
	}
}

func extensionKeys() []FieldRef {
	return []FieldRef{
		{Name: "api", Type: "integer", Doc: "1: the form it is written in"},
		{Name: "extends", Type: "string", Doc: "the runbook's name"},
		{Name: "summary", Type: "string", Doc: "one line that says what is added"},
		{Name: "params", Type: "table<string, param>", Optional: true, Doc: "more parameters"},
		{Name: "checks", Type: "check[]", Optional: true, Doc: "more checks, after the runbook's"},
		{Name: "before", Type: "table<string, step|step[]>", Optional: true, Doc: "STEP = what comes before that step"},
		{Name: "after", Type: "table<string, step|step[]>", Optional: true, Doc: "STEP = what comes after it"},
		{Name: "replace", Type: "table<string, step>", Optional: true, Doc: "STEP = what takes its place, under the same name"},
		{Name: "finally", Type: "step[]", Optional: true, Doc: "what comes at the end of every run that has begun a step, done or failed, and again at the end of one that is resumed; it cannot fail the run"},
	}
}

func stepKeys() []FieldRef {
	return []FieldRef{
		{Name: "run", Type: callback, Doc: "does it; what it returns is the step's result"},
		{Name: "undo", Type: "false|" + callback, Optional: true, Doc: "takes it back when the run fails later, and must bear running when there is nothing to take back; false: what it does needs no undo"},
		{Name: "irreversible", Type: "boolean", Optional: true, Doc: "true: nothing is undone once it has begun"},
		{Name: "done_if", Type: "fun(c: context): boolean, any", Optional: true, Doc: "true: it is done already and run is not called; the second value is the result"},
		{Name: "when", Type: "fun(c: context): boolean", Optional: true, Doc: "false: the step is skipped"},
		{Name: "confirm", Type: "string|fun(c: context): string?", Optional: true, Doc: "a question to the operator, or a function that returns one or nil"},
		{Name: "timeout", Type: "duration", Optional: true, Doc: "for each try of run"},
		{Name: "retries", Type: "integer", Optional: true, Doc: "how often run is tried again after an error"},
		{Name: "delay", Type: "duration", Optional: true, Doc: "how long to wait before each of these (default: 1s)"},
		{Name: "repeatable", Type: "boolean", Optional: true, Doc: "true: it may be run again when a run is resumed that was interrupted within it"},
		{Name: "mark", Type: "string", Optional: true, Doc: "a line that is drawn before the step, in plans and runs"},
		{Name: "outage", Type: `"begins"|"ends"`, Optional: true, Doc: "from this step on clients cannot write, or can again: plans say so, and how long it took in former runs"},
		{Name: "expect", Type: "fun(c: context): string?", Optional: true, Doc: "in plans: what is known now of how long the step will take, such as what is left to replay"},
		{Name: "hint", Type: "string", Optional: true, Doc: "what to do when it fails"},
		{Name: "leaves", Type: "fun(c: context): string?", Optional: true, Doc: "what stays behind when the run fails, and what to type about it"},
		{Name: "on_error", Type: `"warn"|"fail"`, Optional: true, Doc: "in extensions only: whether its failure ends the run (default: fail in replace, else warn)"},
	}
}

// paramKeys are the keys of param.KIND { ... }.
func paramKeys() []FieldRef {
	return []FieldRef{
		{Name: "default", Type: "string|number|boolean", Optional: true, Doc: "the value where none is given"},
		{Name: "help", Type: "string", Optional: true, Doc: "the flag's help"},
		{Name: "required", Type: "boolean", Optional: true, Doc: "true: it must be given"},
		{Name: "bare", Type: "boolean", Optional: true, Doc: "true: a word without dashes that names no option is its value; for one parameter only"},
		{Name: "choices", Type: "string[]", Optional: true, Doc: "what a choice can be; for choice only"},
	}
}

// testWords are those of files that test a runbook.
func testWords() []Word {
	answer := []ArgRef{{Name: "answer", Type: "any", Optional: true}}
	return []Word{
		{Name: "test", Own: true, Tests: true, Returns: "test", Doc: "tests a runbook, with a fake for everything that it calls; the file NAME_test.lua returns it", Keys: []FieldRef{
			{Name: "runbook", Type: "string", Doc: "the runbook's name"},
			{Name: "answers", Type: "table<string, any>", Optional: true, Doc: answersDoc + ", for all cases"},
		}, Items: []FieldRef{{Name: "case", Type: "case", Doc: "one run, and what is expected of it; as many as you like"}}},
		{Name: "case", Own: true, Tests: true, Returns: "case", Doc: "one run, and what is expected of it", Keys: caseKeys(),
			Items: []FieldRef{{Name: "name", Type: "string", Doc: "what is tried"}}},
		{Name: "fails", Own: true, Tests: true, Returns: "any", Doc: `an answer that is an error: fails "text", or fails { "text", hint = "...", begun = false } for one that has changed nothing`, Takes: []ArgRef{{Name: "text", Type: "string|table"}}},
		{Name: "no_return", Own: true, Tests: true, Returns: "any", Doc: "an answer that passes the line of no return first", Takes: answer},
		{Name: "each", Own: true, Tests: true, Returns: "any", Doc: "answers for one call after the other; the last is for all that follow", Takes: []ArgRef{{Name: "answers", Type: "any[]"}}},
	}
}

const answersDoc = `["MODULE.FUNCTION"] = a value, a function of the call's arguments, or fails, no_return or each`

func caseKeys() []FieldRef {
	return []FieldRef{
		{Name: "params", Type: "table<string, any>", Optional: true, Doc: "the flags"},
		{Name: "vars", Type: "table<string, any>", Optional: true, Doc: `fields of c; node, partner and dr are "db1", "db2" and "dr" without it, and false stands for nil`},
		{Name: "answers", Type: "table<string, any>", Optional: true, Doc: answersDoc + "; before those for all cases"},
		{Name: "agree", Type: "boolean", Optional: true, Doc: "the answer to questions (default: true)"},
		{Name: "fails", Type: "string", Optional: true, Doc: "what the error says; without it the run must succeed"},
		{Name: "hint", Type: "string", Optional: true, Doc: "what the error's hint says"},
		{Name: "calls", Type: "string[]", Optional: true, Doc: `calls that must come in this order, others between them: "pg_ctl.stop", or with the first arguments, "pg_ctl.stop db1"`},
		{Name: "never", Type: "string[]", Optional: true, Doc: "calls that must not come"},
		{Name: "says", Type: "string[]", Optional: true, Doc: "texts in the output"},
		{Name: "undone", Type: "string[]", Optional: true, Doc: "exactly the steps that are undone, in this order"},
		{Name: "left", Type: "string[]", Optional: true, Doc: "the steps whose undo fails"},
		{Name: "passed", Type: "boolean", Optional: true, Doc: "whether the line of no return is passed when it fails"},
		{Name: "plan", Type: "string[]", Optional: true, Doc: "texts in the plan"},
		{Name: "expect", Type: "fun(run: table)", Optional: true, Doc: "looks at run.calls (name, text, args of each), run.error, run.results, run.steps, run.output and run.asked, and raises an error"},
		{Name: "sweep", Type: "boolean", Optional: true, Doc: "true: again with each call failing in turn, which must not make the runbook stumble or leave anything"},
	}
}
