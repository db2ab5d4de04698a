// What both servers share: they listen on a loopback port of the system's choice, say which, take orders from
// standard input, one JSON array a line, e.g. ["publish", {"count": 10}], answer each with a line, and end with it.
'use strict';
const readline = require('readline');

exports.serve = (server, port, orders) => {
    server.listen(port, '127.0.0.1', () => console.log(JSON.stringify({port: server.address().port})));
    const lines = readline.createInterface({input: process.stdin});
    lines.on('line', line => {
        const [order, details] = JSON.parse(line);
        Promise.resolve(orders[order](details || {})).then(answer => console.log(JSON.stringify(answer || {})));
    });
    lines.on('close', () => process.exit(0));
};

// Numbers are dense over a server's life unless `first` says where to go on.
let next = 0;
exports.numbered = ({count, first, channel}) => {
    if (first !== undefined) next = first;
    const name = channel || '/v2/me/facebooksession';
    return Array.from({length: count}, () => ({channel: name, data: {number: next++, notificationType: 'StatusChange'}}));
};
