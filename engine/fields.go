package engine

import (
	"reflect"
	"strings"
)

// field is a struct field under the name that Lua and JSON know it by.
type field struct {
	reflect.StructField
	key       string
	omitEmpty bool
	asString  bool // the json option string: a number that Lua could not hold
}

// optionFields are the fields of a struct as encoding/json sees them, those of
// embedded structs among them.
func optionFields(t reflect.Type) []field {
	var fields []field
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" || f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct {
			continue
		}
		if name == "" {
			name = f.Name
		}
		fields = append(fields, field{
			StructField: f, key: name,
			omitEmpty: strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero"),
			asString:  strings.Contains(options, "string"),
		})
	}
	return fields
}

func fieldKeys(t reflect.Type) []string {
	var keys []string
	for _, f := range optionFields(t) {
		keys = append(keys, f.key)
	}
	return keys
}
