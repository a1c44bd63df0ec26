package sdk;

import static common.Queues.await;
import static common.Queues.bodies;
import static common.Queues.left;
import static common.Queues.newQueue;
import static common.Queues.receive;
import static common.Queues.send;

import common.Answer;
import io.netty.channel.Channel;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.nio.NioSocketChannel;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.http.nio.netty.SdkEventLoopGroup;
import software.amazon.awssdk.services.sqs.SqsAsyncClient;
import software.amazon.awssdk.services.sqs.model.ReceiveMessageResponse;

/** Long polls of the asynchronous client end with a send and at their time; a cancelled one takes nothing. */
final class Waiting {
    private static final SqsAsyncClient SQS = SqsAsyncClient.create();

    public static void main(String[] arguments) throws Exception {
        var url = newQueue("waiting");
        var began = System.nanoTime();
        var poll = poll(url, 20);
        Thread.sleep(500);
        send(url, "wake up");
        var woken = poll.join().messages();
        var wokenAfter = secondsSince(began);

        began = System.nanoTime();
        var empty = poll(url, 1).join().messages();
        var emptyAfter = secondsSince(began);

        var shortUrl = newQueue("short", Map.of("VisibilityTimeout", "1"));
        send(shortUrl, "comes back");
        receive(shortUrl);
        var back = poll(shortUrl, 20).join().messages();

        var givenUp = newQueue("given-up");
        var connections = new CopyOnWriteArrayList<Channel>();
        var cancelled = poll(clientThatOpens(connections), givenUp, 20);
        await(() -> !connections.isEmpty());
        Thread.sleep(500);
        cancelled.cancel(true);
        // The broker learns of it from the closed connection.
        await(() -> connections.stream().allMatch(connection -> connection.closeFuture().isDone()));
        send(givenUp, "late");
        new Answer()
                .say("woken", bodies(woken))
                .say("woken at once", wokenAfter < 10)
                .say("empty", bodies(empty))
                .say("waited a second", emptyAfter >= 1 && emptyAfter < 10)
                .say("came back", bodies(back))
                .say("after a cancelled poll", left(givenUp))
                .tell();
    }

    private static CompletableFuture<ReceiveMessageResponse> poll(String url, int seconds) {
        return poll(SQS, url, seconds);
    }

    private static CompletableFuture<ReceiveMessageResponse> poll(SqsAsyncClient client, String url, int seconds) {
        return client.receiveMessage(request -> request.queueUrl(url).waitTimeSeconds(seconds));
    }

    /** A client that adds its connections to a list. */
    private static SqsAsyncClient clientThatOpens(List<Channel> connections) {
        var group = SdkEventLoopGroup.create(new NioEventLoopGroup(1), () -> {
            var connection = new NioSocketChannel();
            connections.add(connection);
            return connection;
        });
        return SqsAsyncClient.builder()
                .httpClientBuilder(NettyNioAsyncHttpClient.builder().eventLoopGroup(group))
                .build();
    }

    private static double secondsSince(long began) {
        return (System.nanoTime() - began) / 1e9;
    }
}
