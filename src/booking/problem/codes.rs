//! The stable codes, their statuses, and their words in five languages.

use axum::http::StatusCode;

/// Declares the codes as one table: name, wire name, status, words in the
/// order of [`super::LANGUAGES`].
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $wire:literal $status:ident [$($text:literal),+ $(,)?];)+) => {
        /// Why a request was refused, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)+ }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $wire,)+ }
            }

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            /// What it means, for people.
            pub(super) const fn text(self, language: usize) -> &'static str {
                let words: [&'static str; 5] = match self { $(Self::$name => [$($text),+],)+ };
                words[language]
            }
        }
    };
}

codes! {
    /// The request cannot be read.
    Malformed "malformed" BAD_REQUEST [
        "The request cannot be read.", "요청을 읽을 수 없습니다.", "リクエストを読み取れません。",
        "无法读取请求。", "No se puede leer la solicitud.",
    ];
    /// The request can be read, but says something that cannot be.
    Invalid "invalid" UNPROCESSABLE_ENTITY [
        "Something in the request is not valid.", "요청 내용이 올바르지 않습니다.", "リクエストの内容が正しくありません。",
        "请求内容无效。", "Algo en la solicitud no es válido.",
    ];
    /// The body is not JSON.
    UnsupportedMediaType "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE [
        "Send JSON.", "JSON으로 보내 주세요.", "JSONで送信してください。", "请发送 JSON。", "Envíe JSON.",
    ];
    /// The body is too large.
    TooLarge "too_large" PAYLOAD_TOO_LARGE [
        "The request is too large.", "요청이 너무 큽니다.", "リクエストが大きすぎます。", "请求过大。",
        "La solicitud es demasiado grande.",
    ];
    /// Nothing there, or not the caller's.
    NotFound "not_found" NOT_FOUND [
        "There is nothing here.", "찾을 수 없습니다.", "見つかりません。", "找不到。", "Aquí no hay nada.",
    ];
    /// The path exists, the method does not.
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED [
        "This cannot be done here.", "여기서는 할 수 없는 요청입니다.", "ここではできない操作です。",
        "此处不支持该操作。", "Esto no se puede hacer aquí.",
    ];
    /// This path is for WebSockets.
    UpgradeRequired "upgrade_required" UPGRADE_REQUIRED [
        "This address is for a WebSocket.", "웹소켓으로 접속하는 주소입니다.", "WebSocket用のアドレスです。",
        "此地址用于 WebSocket。", "Esta dirección es para un WebSocket.",
    ];
    /// No token, or one that is no longer good.
    Unauthenticated "unauthenticated" UNAUTHORIZED [
        "Please sign in.", "로그인해 주세요.", "ログインしてください。", "请登录。", "Inicie sesión.",
    ];
    /// Email and password do not match.
    BadCredentials "bad_credentials" UNAUTHORIZED [
        "Email and password do not match.", "이메일 또는 비밀번호가 맞지 않습니다.",
        "メールアドレスまたはパスワードが違います。", "邮箱或密码不正确。", "El correo y la contraseña no coinciden.",
    ];
    /// The caller's role does not allow it.
    Forbidden "forbidden" FORBIDDEN [
        "You may not do this.", "권한이 없습니다.", "権限がありません。", "您没有权限。", "No tiene permiso.",
    ];
    /// The gate's assertion is missing or not good.
    PassRequired "pass_required" FORBIDDEN [
        "Please come in through the waiting room.", "대기실을 통해 들어와 주세요.",
        "待機室を通ってお入りください。", "请从候补室进入。", "Entre por la sala de espera.",
    ];
    /// Too many attempts.
    TooManyAttempts "too_many_attempts" TOO_MANY_REQUESTS [
        "Too many attempts. Please wait a little.", "시도가 너무 많습니다. 잠시 후 다시 해 주세요.",
        "試行回数が多すぎます。少しお待ちください。", "尝试次数过多，请稍候。", "Demasiados intentos. Espere un poco.",
    ];
    /// The email has an account.
    EmailTaken "email_taken" CONFLICT [
        "This email already has an account.", "이미 가입된 이메일입니다.", "このメールアドレスは登録済みです。",
        "该邮箱已注册。", "Este correo ya tiene una cuenta.",
    ];
    /// Tickets were sold.
    HasSales "has_sales" CONFLICT [
        "Tickets have been sold already.", "이미 판매된 티켓이 있습니다.", "すでに販売されたチケットがあります。",
        "已有门票售出。", "Ya se han vendido entradas.",
    ];
    /// The sale is not open yet.
    SaleNotOpen "sale_not_open" CONFLICT [
        "The sale is not open yet.", "아직 예매가 시작되지 않았습니다.", "まだ販売開始前です。",
        "尚未开售。", "La venta aún no ha comenzado.",
    ];
    /// Some of the wanted seats are gone.
    SeatsTaken "seats_taken" CONFLICT [
        "Somebody was faster. Please choose other seats.", "다른 분이 먼저 선택했습니다. 다른 좌석을 골라 주세요.",
        "先に選ばれてしまいました。別の座席をお選びください。", "有人先选了这些座位，请另选。",
        "Alguien fue más rápido. Elija otros asientos.",
    ];
    /// No seats of that kind are left.
    NoneLeft "none_left" CONFLICT [
        "No such seats are left.", "조건에 맞는 좌석이 남아 있지 않습니다.", "条件に合う座席は残っていません。",
        "没有符合条件的座位了。", "No quedan asientos así.",
    ];
    /// No tickets are left.
    SoldOut "sold_out" CONFLICT [
        "Sold out.", "매진되었습니다.", "完売しました。", "已售罄。", "Agotado.",
    ];
    /// More seats than allowed at once.
    TooManySeats "too_many_seats" UNPROCESSABLE_ENTITY [
        "That is more seats than allowed.", "선택할 수 있는 좌석 수를 넘었습니다.", "選択できる座席数を超えています。",
        "超过可选座位数。", "Son más asientos de los permitidos.",
    ];
    /// The seats are kept for those who ask for accessible places.
    AccessibleOnly "accessible_only" CONFLICT [
        "These places are for wheelchair users and their companions.", "휠체어석과 동반석으로 마련된 자리입니다.",
        "車いすをご利用の方と付き添いの方のための席です。", "这些是轮椅使用者及其陪同者的席位。",
        "Estos lugares son para personas en silla de ruedas y sus acompañantes.",
    ];
    /// No such seat.
    UnknownSeat "unknown_seat" UNPROCESSABLE_ENTITY [
        "There is no such seat.", "없는 좌석입니다.", "その座席はありません。", "没有该座位。", "Ese asiento no existe.",
    ];
    /// The account has its share of tickets.
    TicketLimit "ticket_limit" CONFLICT [
        "You already have as many tickets as one person may buy.", "한 사람이 살 수 있는 수를 넘었습니다.",
        "お一人様の購入上限に達しています。", "已达到每人限购数量。", "Ya tiene el máximo de entradas por persona.",
    ];
    /// The hold is over.
    HoldExpired "hold_expired" CONFLICT [
        "The time to buy these seats is over.", "좌석 선점 시간이 끝났습니다.", "座席の確保時間が終了しました。",
        "座位保留时间已过。", "Se acabó el tiempo para comprar estos asientos.",
    ];
    /// The order is somebody else's.
    NotOwner "not_owner" FORBIDDEN [
        "This order is not yours.", "본인의 주문이 아닙니다.", "ご自身の注文ではありません。", "这不是您的订单。",
        "Este pedido no es suyo.",
    ];
    /// The amount is not the order's.
    AmountMismatch "amount_mismatch" CONFLICT [
        "The amount is not that of the order.", "주문 금액과 다릅니다.", "注文の金額と一致しません。",
        "金额与订单不符。", "El importe no es el del pedido.",
    ];
    /// The order is paid.
    AlreadyPaid "already_paid" CONFLICT [
        "This order is paid already.", "이미 결제된 주문입니다.", "この注文は支払い済みです。", "该订单已支付。",
        "Este pedido ya está pagado.",
    ];
    /// The order was given up.
    OrderCancelled "order_cancelled" CONFLICT [
        "This order was cancelled.", "취소된 주문입니다.", "この注文はキャンセルされました。", "该订单已取消。",
        "Este pedido fue cancelado.",
    ];
    /// The order cannot be cancelled as it stands.
    NotCancellable "not_cancellable" CONFLICT [
        "This order cannot be cancelled now.", "지금은 취소할 수 없는 주문입니다.", "この注文は今キャンセルできません。",
        "该订单目前无法取消。", "Este pedido no se puede cancelar ahora.",
    ];
    /// The wallet would hold more than it may.
    WalletFull "wallet_full" CONFLICT [
        "The wallet cannot hold that much.", "지갑 한도를 넘습니다.", "ウォレットの上限を超えます。", "超过钱包上限。",
        "El monedero no admite tanto.",
    ];
    /// The idempotency key was used for another request.
    KeyReused "idempotency_key_reused" UNPROCESSABLE_ENTITY [
        "This key was used for another request.", "다른 요청에 사용된 키입니다.", "別のリクエストで使われたキーです。",
        "该键已用于其他请求。", "Esta clave se usó para otra solicitud.",
    ];
    /// The first request with the idempotency key is still running.
    StillRunning "still_running" CONFLICT [
        "The same request is still running.", "같은 요청을 처리하고 있습니다.", "同じリクエストを処理中です。",
        "相同的请求正在处理中。", "La misma solicitud aún está en curso.",
    ];
    /// A counsellor cannot go there from where it is.
    IllegalState "illegal_state" CONFLICT [
        "That state cannot be chosen now.", "지금은 선택할 수 없는 상태입니다.", "今は選べない状態です。",
        "当前无法切换到该状态。", "Ese estado no se puede elegir ahora.",
    ];
    /// The ticket was checked in before.
    AlreadyUsed "already_used" CONFLICT [
        "This ticket was used already.", "이미 사용된 티켓입니다.", "このチケットは使用済みです。", "该门票已使用。",
        "Esta entrada ya se usó.",
    ];
    /// The ticket was given back.
    Void "void" GONE [
        "This ticket is no longer good.", "더 이상 유효하지 않은 티켓입니다.", "このチケットは無効です。", "该门票已失效。",
        "Esta entrada ya no es válida.",
    ];
    /// The database or the hold store is away.
    Unavailable "unavailable" SERVICE_UNAVAILABLE [
        "One moment, please try again.", "잠시 후 다시 시도해 주세요.", "少し待ってからもう一度お試しください。",
        "请稍后再试。", "Un momento, inténtelo de nuevo.",
    ];
    /// A mistake of ours.
    Internal "internal" INTERNAL_SERVER_ERROR [
        "Something went wrong on our side.", "저희 쪽에서 문제가 발생했습니다.", "こちら側で問題が発生しました。",
        "我们这边出了问题。", "Algo falló de nuestro lado.",
    ];
}
