package reference

import (
	"net/http"
	"strings"
)

// sample is the example's call in a language.
type sample struct {
	ID, Language, Code string
	// Note stands below the code.
	Note string
}

// example chooses the operation that the page begins with.
func example(d Document) *Operation {
	for i, o := range d.Operations {
		if o.Method == http.MethodGet && !o.Public && !o.Deprecated && !strings.Contains(o.Path, "{") {
			return &d.Operations[i]
		}
	}
	return &Operation{Method: http.MethodGet, Path: d.BasePath}
}

// samples are the calls of an operation at a URL. Each but curl's takes the token
// from the environment: what is written into a program ends up in a repository.
func samples(method, url string) []sample {
	url = quoted.Replace(url)
	return []sample{
		{
			ID: "curl", Language: "curl",
			Code: `curl -X ` + method + ` "` + shell.Replace(url) + `" -H "Authorization: token YOUR_API_TOKEN"`,
			Note: "Put your token in place of YOUR_API_TOKEN.",
		},
		{
			ID: "python", Language: "Python",
			Code: `import os
import requests

response = requests.request(
    "` + method + `",
    "` + url + `",
    headers={"Authorization": "token " + os.environ["API_TOKEN"]},
    timeout=30,
)
print(response.status_code, response.text)`,
			Note: "Reads the token from the environment variable API_TOKEN.",
		},
		{
			ID: "go", Language: "Go",
			Code: `package main

import (
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	request, err := http.NewRequest("` + method + `", "` + url + `", nil)
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Authorization", "token "+os.Getenv("API_TOKEN"))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	log.Println(response.Status)
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		log.Fatal(err)
	}
}`,
			Note: "Reads the token from the environment variable API_TOKEN.",
		},
		{
			ID: "javascript", Language: "JavaScript",
			Code: `const response = await fetch("` + url + `", {
  method: "` + method + `",
  headers: { Authorization: ` + "`token ${process.env.API_TOKEN}`" + ` },
});
console.log(response.status, await response.text());`,
			Note: "For Node.js. In a web page everybody who opens it could read the token.",
		},
	}
}

// quoted escapes what ends a string in double quotes, in all of the languages.
var quoted = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// shell escapes what a shell expands in double quotes besides.
var shell = strings.NewReplacer("`", "\\`", `$`, `\$`)
