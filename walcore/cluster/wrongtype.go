package cluster

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// cannotDecode is how the decoder says that a value is of the wrong type; it
// goes on with the names of our Go types.
const cannotDecode = `cannot decode TOML (\w+) into `

// explainValue is a decoder's error in the words of cluster.toml.
func explainValue(err *toml.DecodeError) string {
	match := regexp.MustCompile(cannotDecode).FindStringSubmatch(err.Error())
	if match == nil {
		return strings.TrimPrefix(err.Error(), "toml: ")
	}
	article := "a"
	if strings.ContainsRune("aeiou", rune(match[1][0])) {
		article = "an"
	}
	return fmt.Sprintf("%s must be %s, and is %s %s", strings.Join(err.Key(), "."), valueOf(reflect.TypeFor[document](), err.Key()), article, match[1])
}

// valueOf says what a key's value must be.
func valueOf(t reflect.Type, key []string) string {
	for _, part := range key {
		if t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			break
		}
		for i := range t.NumField() {
			if field := t.Field(i); field.Tag.Get("toml") == part {
				t = field.Type
				break
			}
		}
	}
	switch t.Kind() {
	case reflect.String:
		return "a text in quotes"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Struct:
		return "a table, begun by [" + strings.Join(key, ".") + "]"
	case reflect.Slice:
		return "tables, each begun by [[" + strings.Join(key, ".") + "]]"
	}
	return "something else"
}
