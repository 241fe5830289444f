package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/hint"
)

// checkFlags refuses a parameter whose flag every command has already.
func checkFlags(book *engine.Runbook) error {
	taken := []string{"help", "plan", "out", "json", "quiet"}
	t := reflect.TypeFor[globals]()
	for i := range t.NumField() {
		name := t.Field(i).Tag.Get("name")
		if name == "" {
			name = strings.ToLower(t.Field(i).Name)
		}
		taken = append(taken, name)
	}
	for _, param := range book.Params {
		if slices.Contains(taken, param.Flag()) {
			return hint.Wrap(fmt.Errorf("%s: parameter %s would be --%s, which every command has", book.Source().Path, param.Name, param.Flag()),
				"nothing was run; give the parameter another name")
		}
	}
	return nil
}

// flagsOf makes the struct that kong reads a runbook's flags from.
func flagsOf(book *engine.Runbook) reflect.Type {
	fields := []reflect.StructField{
		{Name: "Plan", Type: reflect.TypeFor[bool](), Tag: `help:"Show what would be done, and do nothing."`},
		{Name: "Quiet", Type: reflect.TypeFor[bool](), Tag: `help:"Say nothing unless it fails, as cron wants it."`},
		{Name: "Out", Type: reflect.TypeFor[string](), Tag: `help:"With --plan: save the plan in this file, for warmrun run FILE." placeholder:"FILE"`},
		{Name: "JSON", Type: reflect.TypeFor[bool](), Tag: `help:"Print JSON: an object a line for what happens, the last of them how it ended. With --plan: the plan."`},
		{Name: "Words", Type: reflect.TypeFor[[]string](), Tag: reflect.StructTag(fmt.Sprintf(`arg:"" optional:"" name:"word" help:%q`, wordsHelp(book)))},
	}
	return reflect.StructOf(append(fields, paramFields(book)...))
}

// paramFields are the flags of its parameters: Param0 for the first one.
func paramFields(book *engine.Runbook) (fields []reflect.StructField) {
	for i, param := range book.Params {
		kind := reflect.TypeFor[*string]()
		tag := fmt.Sprintf(`name:%q help:%q placeholder:%q`, param.Flag(), paramHelp(param), placeholder(param))
		if param.Type == "boolean" {
			kind = reflect.TypeFor[*bool]()
			tag = fmt.Sprintf(`name:%q help:%q`, param.Flag(), paramHelp(param))
		}
		if param.Type == "boolean" && param.Default == "true" {
			tag += ` negatable:""`
		}
		fields = append(fields, reflect.StructField{Name: fmt.Sprintf("Param%d", i), Type: kind, Tag: reflect.StructTag(tag)})
	}
	return fields
}

// wordsHelp says which bare words a runbook takes, as 2warm's scripts did.
func wordsHelp(book *engine.Runbook) string {
	help := "'debug' prints the settings in use and exits."
	for _, param := range book.Params {
		if param.Bare {
			help = fmt.Sprintf("any other word is the %s; ", param.Flag()) + help
		}
	}
	for _, param := range book.Params {
		if param.Type == "boolean" && param.Default != "true" {
			return fmt.Sprintf("The name of an option without its dashes, as in 'warmrun %s %s'; ", book.Name, param.Flag()) + help
		}
	}
	return help
}

// paramHelp is a sentence, as the help of other flags is.
func paramHelp(param engine.Param) string {
	help := strings.TrimSuffix(param.Help, ".")
	if help != "" {
		help = strings.ToUpper(help[:1]) + help[1:]
	}
	if param.Type == "secret" {
		help += "; a file that only this account can read, below the home directory unless it begins with /"
	}
	switch {
	case param.Required:
		help += " (required)"
	case param.Type == "boolean" && param.Default == "true":
		help += " (default: yes)"
	case param.HasDefault && param.Type != "boolean" && param.Default != "" && !strings.Contains(help, "("+param.Default+":"):
		help += fmt.Sprintf(" (default: %s)", param.Default)
	}
	return strings.ReplaceAll(strings.TrimSpace(help)+".", "$", "$$")
}

func placeholder(param engine.Param) string {
	if len(param.Choices) > 0 {
		return strings.Join(param.Choices, "|")
	}
	if param.Type == "secret" {
		return "FILE"
	}
	return strings.ToUpper(param.Type)
}
