package console

import "strings"

// UTF8 says whether the locale of an environment, given by getenv, is one in which emoji can be written: the first of
// LC_ALL, LC_CTYPE and LANG that is set names the UTF-8 encoding (POSIX.1-2017, XBD 8.2).
func UTF8(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := getenv(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}
