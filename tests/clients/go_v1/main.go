// Scenarios for the AWS SDK for Go v1. Each is named on the command line and prints one line of JSON.
//
// The same program is built twice: go.mod has the last version of the SDK that the SQS team left on
// the Query protocol, json.mod one that speaks AWS JSON.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

var scenarios = map[string]func() answer{
	"protocol":   protocol,
	"life_cycle": lifeCycle,
	"empty":      empty,
	"batches":    batches,
	"errors":     refusals,
	"waiting":    waiting,
}

func main() {
	play, known := scenarios[os.Args[1]]
	if !known {
		fmt.Fprintf(os.Stderr, "there is no scenario %q\n", os.Args[1])
		os.Exit(2)
	}
	fmt.Println(string(must(json.Marshal(play()))))
}
