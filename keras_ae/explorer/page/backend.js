// Asks the server, which runs the model. The static page has another file of this name.

async function ask(path, given) {
  const options = given === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(given),
  };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

export async function connect() {
  const actions = ["decode", "look", "interpolate", "sample", "view"];
  const calls = actions.map((name) => [name, (given) => ask(`api/${name}`, given)]);
  return { state: await ask("api/state"), ...Object.fromEntries(calls) };
}
