// Scenarios for the AWS SDK for Go v2. Each is named on the command line and prints one line of JSON.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

var scenarios = map[string]func() answer{
	"life_cycle":    lifeCycle,
	"batches":       batches,
	"fifo":          fifo,
	"dead_letters":  deadLetters,
	"errors":        refusals,
	"waiting":       waiting,
	"administering": administering,
	"stopping":      stopping,
}

func main() {
	play, known := scenarios[os.Args[1]]
	if !known {
		fmt.Fprintf(os.Stderr, "there is no scenario %q\n", os.Args[1])
		os.Exit(2)
	}
	fmt.Println(string(must(json.Marshal(play()))))
}
